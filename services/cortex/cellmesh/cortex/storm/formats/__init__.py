"""Formats and notations of the field that queries read and write, without a graph or a network.

file_paths.py        paths of files in text
text_scrape.py       indicators found in text, for the library, the scrape command and look-ups
coin_addresses.py    addresses of crypto-currencies in text, with their checksums
keccak.py            the hash of Ethereum
top_levels.py        top-level domains that names found in text may end in
cvss.py              scores of vulnerabilities, from vectors
json_tokens.py       JSON Web Tokens, signed and checked
stix_mapping.py      how nodes are told in STIX, and back
stix_import.py       bundles of STIX made into nodes
attack_flow.py       drawings of attacks, checked and brought into order
"""
