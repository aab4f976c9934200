"""The Cryotank's gRPC services.

tanks        TankService over the store
permissions  who may call what
"""
