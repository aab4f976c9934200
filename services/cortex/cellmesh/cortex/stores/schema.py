"""The databases of the stores."""

from __future__ import annotations

from typing import Final

from cellmesh.common.storage import SubDb

MACROS: Final = SubDb("macros", "name -> Value: what is known of the macro")
GLOBALS: Final = SubDb("globals", "name -> Value")
QUEUES: Final = SubDb("queues", "name -> Value: number, who made it and when, next offset")
QUEUE_ITEMS: Final = SubDb("queue_items", "queue number(8) offset(8) -> Value")
QUEUE_NUMBERS: Final = SubDb("queue_numbers", '"next" -> next queue number(8)')
GRAPH_PROJECTIONS: Final = SubDb("graph_projections", "iden -> Value: the rules of the projection")
TAG_MODEL: Final = SubDb("tag_model", "tag -> Value: its rules by name")
DEPRECATION_LOCKS: Final = SubDb("deprecation_locks", "name of a deprecated form or property -> Value: true")
EDGE_VERBS: Final = SubDb("edge_verbs", "verb -> Value: what is said of it")
MODEL_EXTENSIONS: Final = SubDb("model_extensions", '"model" -> Value: all that users added to the model')
MODEL_STEPS: Final = SubDb(
    "model_steps",
    '"done" -> Value: the last step of the model done; "place" -> Value: how far the next one has come',
)
USER_VALUES: Final = SubDb("user_values", "user iden NUL kind NUL name -> Value")
JSON_VALUES: Final = SubDb("json_values", "steps of the path, each with a NUL behind -> Value")
VAULTS: Final = SubDb("vaults", "iden -> Value: name, type, scope, owner, secrets, configs, permissions")
PACKAGES: Final = SubDb("packages", "name -> Value: the definition of the Storm package")
SERVICES: Final = SubDb(
    "storm_services", "iden -> Value: name, URL, and what the Storm service told of itself"
)
HTTP_APIS: Final = SubDb(
    "http_apis", "iden -> Value: path, place in the order, queries by method, who may call it"
)
OAUTH_PROVIDERS: Final = SubDb(
    "oauth_providers", "iden -> Value: how tokens are asked for, the secret included"
)
OAUTH_TOKENS: Final = SubDb(
    "oauth_tokens", "provider iden NUL user iden -> Value: a user's tokens and when they end"
)

DATABASES: Final = (
    MACROS,
    GLOBALS,
    QUEUES,
    QUEUE_ITEMS,
    QUEUE_NUMBERS,
    GRAPH_PROJECTIONS,
    TAG_MODEL,
    DEPRECATION_LOCKS,
    EDGE_VERBS,
    MODEL_EXTENSIONS,
    MODEL_STEPS,
    USER_VALUES,
    JSON_VALUES,
    VAULTS,
    PACKAGES,
    SERVICES,
    HTTP_APIS,
    OAUTH_PROVIDERS,
    OAUTH_TOKENS,
)
"""What the cell's slab is opened with for the stores."""
