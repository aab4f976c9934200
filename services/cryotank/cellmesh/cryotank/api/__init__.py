"""The Cryotank's gRPC services.

tanks        TankService: tanks, their limits, their consumers
records      TankService: records in and out
permissions  who may call what
"""
