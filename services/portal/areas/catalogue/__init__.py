"""What the tenant offers: home, places, items, standard against local implementation."""
