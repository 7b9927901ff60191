"""The frame of the report: one HTML page that needs no network, its style and its few lines of script."""

import html
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

_STYLE = """
:root{--ink:#1d2733;--soft:#5b6875;--line:#dfe4ea;--accent:#1b6ca8;--good:#1a7f4b;--bad:#b3261e;--paper:#fff;--wash:#f5f7fa}
*{box-sizing:border-box}
body{margin:0;background:var(--wash);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 22px 60px}
h1{font-size:25px;line-height:1.25;margin:0 0 4px}
h2{font-size:19px;margin:38px 0 10px;padding-top:6px}
h3{font-size:15.5px;margin:22px 0 8px}
p{max-width:78ch;margin:8px 0}
.soft{color:var(--soft);font-size:13.5px}
section{background:var(--paper);border:1px solid var(--line);border-radius:8px;padding:16px 20px;margin:14px 0}
.headline{font-size:17px;max-width:86ch}
nav{margin:12px 0 0;font-size:14px}nav a{margin-right:16px;color:var(--accent);text-decoration:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums;margin:6px 0}
th,td{padding:4px 11px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th.text,td.text{text-align:left}
th{position:sticky;top:0;background:var(--paper);border-bottom:2px solid var(--ink);cursor:pointer;user-select:none}
th::after{content:"\\2195";color:#b8c0c9;padding-left:5px}
th[aria-sort=ascending]::after{content:"\\2191";color:var(--accent)}
th[aria-sort=descending]::after{content:"\\2193";color:var(--accent)}
tbody tr:hover{background:#eef4f9}
.good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
figure{margin:12px 0}figure img{max-width:100%;height:auto;display:block;cursor:zoom-in}
figcaption{color:var(--soft);font-size:13.5px;max-width:90ch}
details{margin:10px 0}summary{cursor:pointer;font-weight:600}
pre{background:var(--wash);border:1px solid var(--line);border-radius:6px;padding:10px 12px;overflow:auto;
font-size:12.5px;max-height:420px}
.zoom{position:fixed;inset:0;background:rgba(15,20,26,.88);display:flex;align-items:center;justify-content:center;
cursor:zoom-out;padding:18px;z-index:9}.zoom img{max-width:100%;max-height:100%;background:#fff}
@media print{body{background:#fff}section{break-inside:avoid;border:0;padding:0}nav{display:none}}
"""

_SCRIPT = """
document.querySelectorAll('table.sortable th').forEach(function(head){
  head.tabIndex=0;
  function sort(){
    var table=head.closest('table'),body=table.tBodies[0],column=head.cellIndex;
    var down=head.getAttribute('aria-sort')==='ascending';
    table.querySelectorAll('th').forEach(function(other){other.removeAttribute('aria-sort')});
    head.setAttribute('aria-sort',down?'descending':'ascending');
    function key(row){var cell=row.cells[column],raw=cell.dataset.value;
      if(raw===undefined)return cell.textContent;
      var number=parseFloat(raw);return isNaN(number)?null:number}
    Array.from(body.rows).map(function(row,index){return [key(row),index,row]}).sort(function(a,b){
      if(a[0]===null||b[0]===null)return a[0]===b[0]?a[1]-b[1]:a[0]===null?1:-1;
      var order=typeof a[0]==='number'?a[0]-b[0]:String(a[0]).localeCompare(String(b[0]));
      return (down?-order:order)||a[1]-b[1]
    }).forEach(function(entry){body.appendChild(entry[2])})
  }
  head.addEventListener('click',sort);
  head.addEventListener('keydown',function(event){if(event.key==='Enter')sort()})
});
document.querySelectorAll('figure img').forEach(function(image){
  image.addEventListener('click',function(){
    var cover=document.createElement('div');cover.className='zoom';
    cover.appendChild(image.cloneNode());document.body.appendChild(cover);
    function close(){cover.remove();document.removeEventListener('keydown',close)}
    cover.addEventListener('click',close);document.addEventListener('keydown',close)
  })
});
"""


def render_page(title: str, body: str) -> str:
    """A whole page.

    Args:
      title: of the document.
      body: HTML of its main part.
    """
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f'<link rel="icon" href="data:,"><style>{_STYLE}</style></head>\n'
        f"<body><main>\n{body}\n</main><script>{_SCRIPT}</script></body></html>\n"
    )


def escape(text: Any) -> str:
    """Text that is safe inside HTML."""
    return html.escape(str(text))


def render_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], exact: Collection[str] = ()) -> str:
    """A table that sorts when its heads are clicked.

    Args:
      rows: with a value for each column: numbers, text, or `Marked`.
      columns: key -> head, in order.
      exact: columns whose numbers are shown as they are, the others with four significant digits.
    """
    text = {key for key in columns if rows and not _is_number(rows[0][key])}
    heads = "".join(
        f'<th scope="col"{" class=text" if key in text else ""}>{escape(head)}</th>' for key, head in columns.items()
    )
    lines = []
    for row in rows:
        lines.append("<tr>" + "".join(_cell(row[key], key in text, key in exact) for key in columns) + "</tr>")
    table = f"<thead><tr>{heads}</tr></thead><tbody>{chr(10).join(lines)}</tbody>"
    return f'<div class="scroll"><table class="sortable">{table}</table></div>'


class Marked(str):
    """Text in a table with a CSS class ('good' or 'bad')."""

    mark: str = ""

    @classmethod
    def of(cls, text: str, mark: str) -> "Marked":
        """Makes one."""
        marked = cls(text)
        marked.mark = mark
        return marked


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, is_text: bool, is_exact: bool) -> str:
    if _is_number(value):
        raw = str(value).replace("inf", "Infinity")  # as the script reads it
        return f'<td data-value="{raw}">{f"{value:g}" if is_exact else format_number(value)}</td>'
    mark = f" {value.mark}" if isinstance(value, Marked) else ""
    return f'<td class="{"text" if is_text else ""}{mark}">{escape(value)}</td>'


def format_number(value: float, digits: int = 4) -> str:
    """A number for reading: integers with thin spaces, others with so many significant digits, '–' for none."""
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(0, digits - 1 - magnitude)}f}" if -4 <= magnitude < digits else f"{value:.{digits}g}"
