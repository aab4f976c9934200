"""ModelService: what forms and properties there are."""

from __future__ import annotations

from typing import Any, Final

from cellmesh.api.cortex.v1 import model_pb2
from cellmesh.common.errors import BadArg
from cellmesh.cortex.model import Form, Model

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 1000


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


def _form_info(form: Form) -> model_pb2.FormInfo:
    props = [
        model_pb2.PropInfo(
            name=prop.name,
            type=prop.type.name,
            doc=prop.doc,
            read_only=prop.read_only,
            deprecated=prop.deprecated,
        )
        for prop in sorted(form.props.values(), key=lambda prop: prop.name)
    ]
    return model_pb2.FormInfo(
        name=form.name, type=form.type.name, doc=form.doc, props=props, interfaces=list(form.interfaces)
    )
