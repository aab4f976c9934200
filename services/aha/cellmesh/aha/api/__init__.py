"""AHA's gRPC services.

registry     RegistryService over the directory
enrollment   EnrollmentService on the port without client certificates
certificates CertificateService for members of the mesh
pools        PoolService: names for several services
leadership   LeadershipService: who leads each service
permissions  who may call what
"""
