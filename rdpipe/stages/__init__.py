"""One module for each rule: read, call, write."""
