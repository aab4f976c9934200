"""The types that code implements, one file a family; every other type derives from one of them by options.

base        what all types share: the seam, comparisons, index scans
numbers     int, float, bool, hugenum
strings     str, hex, loc, tags and taxonomies
guids       guid, users and roles
times       time, ival, duration
quantities  distance, area, velocity, places on the globe
composites  comp, array, ndef, edges, nodeprop, range, data
geojson     shapes on the globe
network     domain names, IPv4, IPv6, blocks and ranges, addresses with ports
web         URLs, mail addresses, cookies, DNS names
files       base names, paths, files by content
software    versions, product names, CVSS vectors
telephony   phone numbers, IMEI, IMSI

`FAMILIES` maps the name of a type to the class that implements it and what derives from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cellmesh.cortex.model.types import (
    composites,
    files,
    geojson,
    guids,
    network,
    numbers,
    quantities,
    software,
    strings,
    telephony,
    times,
    web,
)
from cellmesh.cortex.model.types.base import BaseType

FAMILIES: Mapping[str, type[BaseType]] = MappingProxyType(
    {
        "array": composites.ArrayType,
        "bool": numbers.BoolType,
        "comp": composites.CompType,
        "cvss:v2": software.Cvss2Type,
        "cvss:v3": software.Cvss3Type,
        "data": composites.DataType,
        "duration": times.DurationType,
        "edge": composites.EdgeType,
        "file:base": files.FileBaseType,
        "file:bytes": files.FileBytesType,
        "file:path": files.FilePathType,
        "float": numbers.FloatType,
        "geo:area": quantities.AreaType,
        "geo:dist": quantities.DistanceType,
        "geo:json": geojson.GeoJsonType,
        "geo:latlong": quantities.LatLongType,
        "guid": guids.GuidType,
        "hex": strings.HexType,
        "hugenum": numbers.HugeNumType,
        "inet:addr": network.AddrType,
        "inet:cidr4": network.Cidr4Type,
        "inet:cidr6": network.Cidr6Type,
        "inet:dns:name": web.DnsNameType,
        "inet:email": web.EmailType,
        "inet:fqdn": network.FqdnType,
        "inet:http:cookie": web.HttpCookieType,
        "inet:ipv4": network.IPv4Type,
        "inet:ipv4range": network.IPv4RangeType,
        "inet:ipv6": network.IPv6Type,
        "inet:ipv6range": network.IPv6RangeType,
        "inet:rfc2822:addr": web.MailAddressType,
        "inet:url": web.UrlType,
        "int": numbers.IntType,
        "it:sec:cpe": software.Cpe23Type,
        "it:sec:cpe:v2_2": software.Cpe22Type,
        "it:semver": software.SemVerType,
        "ival": times.IntervalType,
        "loc": strings.LocType,
        "ndef": composites.NdefType,
        "nodeprop": composites.NodePropType,
        "range": composites.RangeType,
        "str": strings.StrType,
        "syn:role": guids.RoleType,
        "syn:tag": strings.TagType,
        "syn:tag:part": strings.WordType,
        "syn:user": guids.UserType,
        "taxon": strings.WordType,
        "taxonomy": strings.TaxonomyType,
        "tel:mob:imei": telephony.ImeiType,
        "tel:mob:imsi": telephony.ImsiType,
        "tel:phone": telephony.PhoneType,
        "time": times.TimeType,
        "timeedge": composites.TimeEdgeType,
        "velocity": quantities.VelocityType,
    }
)
