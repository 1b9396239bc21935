"""A visitor of the page without a browser: it follows links, and presses the buttons it sees."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode, urlsplit


class _Forms(HTMLParser):
    """The forms of a page, each with its fields and its buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []
        self._button: dict[str, Any] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.forms.append({**given, "fields": {}, "buttons": {}})
        elif self.forms and tag in {"input", "select"} and given.get("name"):
            if given.get("type") != "checkbox":
                self.forms[-1]["fields"][given["name"]] = given.get("value") or ""
        elif tag == "button" and self.forms:
            self._button = given

    def handle_data(self, data: str) -> None:
        if self._button is not None and data.strip():
            self.forms[-1]["buttons"][" ".join(data.split())] = self._button
            self._button = None


class Answer:
    """What the page answered."""

    def __init__(self, path: str, answer: http.client.HTTPResponse) -> None:
        self.path = path
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read().decode()


class Guest:
    """Has a token, or has none."""

    def __init__(self, url: str, cookie: str | None = None) -> None:
        self.host = urlsplit(url).netloc
        self.cookie = cookie

    def send(
        self, method: str, path: str, body: str | None = None, **headers: str | None
    ) -> Answer:
        given = {"Host": self.host, "Cookie": self.cookie, "Origin": f"http://{self.host}"}
        if method == "GET":
            del given["Origin"]
        given |= {name.capitalize(): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            connection.request(
                method, path, body, {name: one for name, one in given.items() if one is not None}
            )
            return Answer(path, connection.getresponse())
        finally:
            connection.close()

    def follow(self, path: str, last_event_id: str | None = None) -> Iterator[tuple[str, Any]]:
        """Id and content of each event that the server sends, until it sends no more."""
        given = {"Host": self.host, "Cookie": self.cookie, "Last-Event-ID": last_event_id}
        connection = http.client.HTTPConnection(self.host, timeout=30)
        with closing(connection):
            connection.request("GET", path, headers={k: v for k, v in given.items() if v})
            answer = connection.getresponse()
            assert answer.headers["content-type"].startswith("text/event-stream"), answer.read()
            name = ""
            for line in answer:
                field, _, content = line.decode().rstrip("\n").partition(": ")
                if field == "id":
                    name = content
                elif field == "data":
                    yield name, json.loads(content)

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    def press(self, page: Answer, button: str, **fields: str) -> Answer:
        """Press the only button of this name, with these fields filled in."""
        forms = _Forms()
        forms.feed(page.text)
        [form] = [one for one in forms.forms if button in one["buttons"]]
        assert set(fields) <= set(form["fields"]) | {"retry"}
        pressed = form["buttons"][button]
        said = form["fields"] | fields
        if pressed.get("name"):
            said[pressed["name"]] = pressed["value"]
        if form.get("method") != "post":
            return self.get(form["action"], **said)
        return self.send("POST", form["action"], urlencode(said))
