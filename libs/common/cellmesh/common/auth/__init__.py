"""Who may do what.

context      who calls, carried with the request into handlers and worker threads
behalf       whom a follower names when it sends a call on to its leader
rules        Rule: allow or deny a path; the first of a list that matches decides
principals   User, Role; root and all, which exist in every cell
gates        Gate: an object on which users and roles have rules of their own
records      what is stored: messages to values and back; Credentials, ApiKey
policy       Policy: everything at one moment, and whether somebody may do something
schema       the databases in every cell's slab
stored       a policy as the databases hold it
keeper       PolicyKeeper: the policy in memory and on disk, and how a change is made to both
store        AuthStore, which is `cell.auth`: the changes that can be made
held         AuthUser: a user as other code holds it
replay       AuthApplier: changes from a log, for mirrors
audit        the audit log, a chain of hashes, and its checker
retention    AuditRetention: what the audit log keeps; the rest is cut, which the chain tells
denials      refused calls on their way there
credentials  Argon2id, password policy, one-time passwords, API keys
passwords    Passwords: set them, prove them, wear out attempts
certificates which user a certificate is for
logins       Logins: the user that a caller is
service      AuthService

This package imports none of them, so that clients can have `context` without storage.
"""
