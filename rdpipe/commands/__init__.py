"""Commands for people: start a config, check a codec, read the answer, look up a word."""
