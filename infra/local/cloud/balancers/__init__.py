"""ALB: HAProxy on the network, listening with the listeners' certificates and checking server groups' health.

As in the cloud, all servers of a group are used when none is healthy, and a server of weight 0 gets no traffic and no
checks.
"""
