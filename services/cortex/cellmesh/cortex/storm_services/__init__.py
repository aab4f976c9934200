"""Storm services: programs beside the Cortex that give queries methods, commands and modules, over gRPC.

definitions.py  packages as a service tells them, as definitions that the Cortex keeps
client.py       what a Cortex asks of a service
links.py        the part of the cell that finds services, takes what they tell, and goes on trying
loader.py       the part that runs what packages want run when the Cortex starts to lead

What is known of a service is kept by `stores/services.py`; `$lib.service` and `service.*` are in `storm/`.
"""
