"""Training of variable-rate networks, for the embedded codecs and for joint bounds."""
