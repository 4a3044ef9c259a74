"""A plan's architecture as a torch module, and the devices and processes that compute it."""
