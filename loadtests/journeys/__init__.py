"""What people do on the network, step by step: a folder a journey.

`__init__.py` tells its steps (`JOURNEY`, without any need of Locust), `walk.py` how they are gone (`walk`). A folder
that is here is a journey that scenarios may name.
"""
