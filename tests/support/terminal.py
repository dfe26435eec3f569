"""The screen of a terminal, as far as the demo writes to one: it refuses every other sequence."""

from __future__ import annotations

import codecs
import re

_PART = re.compile(r"\033\[([?0-9;]*)([A-Za-z])|(\r)|(\n)|([^\033\r\n\x00-\x1f])", re.DOTALL)
_BEGUN = re.compile(r"\033(\[[?0-9;]*)?")


class Screen:
    """Two pages as xterm has them; :attr:`lines` is the shown one, :attr:`styles` its colours."""

    def __init__(self, columns: int, rows: int, encoding: str = "utf-8") -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest = ""
        self.columns, self.rows = columns, rows
        self.has_cursor = True
        self.on_own_page = False
        self.scrolled = 0  # lines that left the shown page at its top
        self._pages = {False: self._blank(), True: self._blank()}
        self._row = self._column = 0
        self._style = ""

    @property
    def lines(self) -> list[str]:
        return ["".join(text for text, _ in row).rstrip() for row in self._page]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def style_of(self, text: str) -> str:
        """The SGR parameters of the first place that has ``text``; "" for plain text."""
        for row, line in zip(self._page, self.lines, strict=True):
            if text in line:
                return row[line.index(text)][1]
        raise AssertionError(f"{text!r} is not on the screen:\n{self.text}")

    def resize(self, columns: int, rows: int) -> None:
        """Cut lines at the right edge, as terminals do on the page without scrolling."""
        self.columns, self.rows = columns, rows
        for page in self._pages.values():
            page[:] = [(row + self._empty())[:columns] for row in page[:rows]]
            page += [self._empty() for _ in range(rows - len(page))]

    def feed(self, data: bytes) -> None:
        """Obey ``data``, which may be cut at any place."""
        text, at = self._rest + self._decoder.decode(data), 0
        self._rest = ""
        while at < len(text):
            if _BEGUN.fullmatch(text, at):
                self._rest = text[at:]
                return
            part = _PART.match(text, at)
            assert part, f"a terminal may not know {text[at : at + 12]!r}"
            at = part.end()
            parameters, letter, carriage, line_feed, character = part.groups()
            if letter:
                self._obey(parameters + letter)
            elif carriage:
                self._column = 0
            elif line_feed:
                self._next_line()
            else:
                self._put(character)

    def _obey(self, sequence: str) -> None:
        match sequence:
            case "?1049h" | "?1049l":
                self.on_own_page = sequence.endswith("h")
                self._row = self._column = 0
            case "?25h" | "?25l":
                self.has_cursor = sequence.endswith("h")
            case "H":
                self._row = self._column = 0
            case "K":
                self._clear_line()
            case "J":
                self._clear_line()
                for row in range(self._row + 1, self.rows):
                    self._page[row] = self._empty()
            case _ if sequence.endswith("m"):
                self._style = "" if sequence == "0m" else sequence[:-1]
            case _:
                raise AssertionError(f"a terminal may not know CSI {sequence}")

    def _put(self, character: str) -> None:
        if self._column == self.columns:
            self._column = 0
            self._next_line()
        self._page[self._row][self._column] = (character, self._style)
        self._column += 1

    def _next_line(self) -> None:
        if self._row + 1 < self.rows:
            self._row += 1
        else:
            self.scrolled += 1
            self._page[:] = [*self._page[1:], self._empty()]

    def _clear_line(self) -> None:
        self._page[self._row][self._column :] = self._empty()[self._column :]

    @property
    def _page(self) -> list[list[tuple[str, str]]]:
        return self._pages[self.on_own_page]

    def _blank(self) -> list[list[tuple[str, str]]]:
        return [self._empty() for _ in range(self.rows)]

    def _empty(self) -> list[tuple[str, str]]:
        return [(" ", "")] * self.columns
