"""One program for each kind of stack."""
