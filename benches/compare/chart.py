"""One SVG: a bar for each contender, written by hand."""
from html import escape

WIDTH, LEFT, ROW, TOP = 900, 330, 26, 70


def bars(title, subtitle, rows, unit):
    """`rows` are (name, value, note); a value of None is left out."""
    rows = [row for row in rows if row[1] is not None]
    most = max(value for _, value, _ in rows)
    height = TOP + ROW * len(rows) + 20
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<style>rect.bar{fill:#8a94a6} rect.ours{fill:#2f6fde} text{fill:#1c2330} '
        '.quiet{fill:#667085} @media(prefers-color-scheme:dark){text{fill:#e6e9ef} '
        '.quiet{fill:#9aa4b2} rect.page{fill:#12161d}}</style>',
        f'<rect class="page" width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="20" y="28" font-size="17" font-weight="600">{escape(title)}</text>',
        f'<text x="20" y="50" class="quiet">{escape(subtitle)}</text>',
    ]
    for n, (name, value, note) in enumerate(rows):
        y = TOP + n * ROW
        length = max(1, value / most * (WIDTH - LEFT - 170))
        kind = "bar ours" if name.startswith("Portcullis") else "bar"
        out += [
            f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{length:.1f}" height="16" rx="2"/>',
            f'<text x="{LEFT + length + 8:.1f}" y="{y + 15}">{value:,.1f} {escape(unit)}'
            f'<tspan class="quiet"> {escape(note)}</tspan></text>',
        ]
    return "\n".join(out) + "\n</svg>\n"
