"""What people do on the network, step by step; the steps' names and order are those of `scenario.JOURNEYS`."""
