"""What tests of several layers share: environments and parts of them, real or made up, and how to wait for them."""
