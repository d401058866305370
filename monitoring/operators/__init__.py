"""The page from which an operator sees what fires and silences it; served by the receiver."""
