"""The cloud's products, each with the rules of its classes: what the SDK does not say, and what makes them real."""
