"""The explorer in a notebook: the session in the kernel, its page in the browser, messages between them."""

from typing import Any

import anywidget

from racviz.explorer import scripts
from racviz.explorer.session import Session


class ExplorerWidget(anywidget.AnyWidget):
    """Hand the page's requests to a session, and its answers back with the request's number."""

    _esm = scripts.joined(scripts.WIDGET)
    _css = scripts.style()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.on_msg(self._heard)

    def _heard(self, _: Any, request: dict[str, Any], __: Any) -> None:
        number, view = request.pop("number", None), request.pop("view", None)
        data, arrays = self._session.handle(request)
        self.send({"number": number, "view": view, "data": data}, arrays)
