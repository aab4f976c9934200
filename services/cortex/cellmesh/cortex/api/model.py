"""ModelService: what types, forms, properties, interfaces and edges there are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from cellmesh.api.common.v1 import value_pb2
from cellmesh.api.cortex.v1 import model_pb2
from cellmesh.common.errors import BadArg
from cellmesh.common.values import to_value
from cellmesh.cortex.model import Form, Model
from cellmesh.cortex.model.definitions import EdgeDef, InterfaceDef, PropDef, TagPropDef, TypeDef

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000
BATCH_COUNT: Final = 50
"""How many entries a message of GetModel has. Some forms have a hundred properties."""


class ModelServicer:
    """Answers from the compiled model, which lives in memory: no thread is needed."""

    def __init__(self, model: Model) -> None:
        self._model = model

    async def GetForm(self, request: model_pb2.GetFormRequest, context: Any) -> model_pb2.GetFormResponse:
        """Return one form. Raises NoSuchForm with near matches."""
        return model_pb2.GetFormResponse(form=_form_info(self._model.require_form(request.name)))

    async def ListForms(
        self, request: model_pb2.ListFormsRequest, context: Any
    ) -> model_pb2.ListFormsResponse:
        """Return a page of forms by name; the token is the name that the page before ended with."""
        size = min(request.page_size or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
        if size < 0:
            raise BadArg(f"page_size must not be negative: {request.page_size}", name="page_size")
        names = sorted(name for name in self._model.form_names() if name.startswith(request.prefix))
        if request.page_token:
            if not self._model.is_form(request.page_token):
                raise BadArg("page_token is not one that this service gave", name="page_token")
            names = [name for name in names if name > request.page_token]
        page = names[:size]
        token = page[-1] if len(names) > size else ""
        forms = [_form_info(self._model.require_form(name)) for name in page]
        return model_pb2.ListFormsResponse(forms=forms, next_page_token=token)

    async def GetModel(
        self, request: model_pb2.GetModelRequest, context: Any
    ) -> AsyncIterator[model_pb2.GetModelResponse]:
        """Stream the model, a kind of entries after the other."""
        for message in _messages(self._model, request.prefix):
            yield message


def _messages(model: Model, prefix: str) -> Iterator[model_pb2.GetModelResponse]:
    def batches(field: str, infos: Iterable[Any]) -> Iterator[model_pb2.GetModelResponse]:
        source = iter(infos)
        while batch := list(islice(source, BATCH_COUNT)):
            yield model_pb2.GetModelResponse(**{field: batch})

    def chosen(definitions: Mapping[str, Any], describe: Callable[[Any], Any]) -> Iterator[Any]:
        return (describe(definitions[name]) for name in sorted(definitions) if name.startswith(prefix))

    defs = model.defs
    yield from batches("types", chosen(defs.types, _type_info))
    yield from batches("interfaces", chosen(defs.interfaces, _interface_info))
    yield from batches("universal_props", chosen(defs.universal, _prop_info))
    yield from batches("tag_props", chosen(defs.tagprops, _tag_prop_info))
    edges = sorted(defs.edges.values(), key=lambda edge: (edge.verb, edge.source or "", edge.target or ""))
    yield from batches("edges", (_edge_info(edge) for edge in edges if edge.verb.startswith(prefix)))
    yield from batches("forms", (_form_info(form) for form in model.forms_by_prefix(prefix)))


def _options(options: Mapping[str, Any]) -> value_pb2.MapValue | None:
    return to_value(dict(options)).map_value if options else None


def _form_info(form: Form) -> model_pb2.FormInfo:
    props = [_prop_info(prop.definition) for _, prop in sorted(form.props.items())]
    return model_pb2.FormInfo(
        name=form.name,
        type=form.type.name,
        doc=form.doc,
        props=props,
        interfaces=list(form.interfaces),
        deprecated=form.deprecated,
        runtime=form.is_runtime,
        extended=form.is_extended,
    )


def _prop_info(prop: PropDef) -> model_pb2.PropInfo:
    return model_pb2.PropInfo(
        name=prop.name,
        type=prop.type.name,
        doc=prop.doc,
        read_only=prop.read_only,
        deprecated=prop.deprecated,
        options=_options(prop.type.options),
        extended=prop.name.lstrip(".").startswith("_"),
    )


def _type_info(found: TypeDef) -> model_pb2.TypeInfo:
    return model_pb2.TypeInfo(
        name=found.name,
        base=found.base,
        options=_options(found.options),
        interfaces=found.interfaces,
        doc=found.doc,
        deprecated=found.deprecated,
        extended=found.name.startswith("_"),
    )


def _interface_info(found: InterfaceDef) -> model_pb2.InterfaceInfo:
    props = [_prop_info(prop) for _, prop in sorted(found.props.items())]
    return model_pb2.InterfaceInfo(name=found.name, doc=found.doc, props=props, interfaces=found.interfaces)


def _tag_prop_info(found: TagPropDef) -> model_pb2.TagPropInfo:
    return model_pb2.TagPropInfo(
        name=found.name, type=found.type.name, options=_options(found.type.options), doc=found.doc
    )


def _edge_info(found: EdgeDef) -> model_pb2.EdgeInfo:
    return model_pb2.EdgeInfo(
        source=found.source or "", verb=found.verb, target=found.target or "", doc=found.doc
    )
