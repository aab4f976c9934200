"""What queries reach outside of the graph: the web, mail and other cells.

http_calls.py        HTTP requests of queries
mail_calls.py        mail servers asked by queries
oauth_calls.py       tokens asked of OAuth providers, signatures of OAuth 1
axon_files.py        nodes that tell what the Axon keeps
remote_calls.py      RPCs of other cells, called by name
registry_calls.py    what AHA knows of services
service_calls.py     what queries need of the links to Storm services
"""
