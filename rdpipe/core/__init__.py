"""Types and services that every other package builds on."""
