"""Synthetic invoices for an extraction with nested and repeated fields: text and right answer, always the same ones.

    python examples/invoices/make_rows.py [--rows 600] [--seed 0] [--to examples/invoices/rows.jsonl]

They show the shape of such a task, not a hard one: five layouts, made-up firms and goods, one to four lines each. No
invoice of anybody was used.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

FIRST = ["Alder", "Birch", "Cedar", "Elm", "Hazel", "Juniper", "Larch", "Maple", "Oak", "Rowan", "Spruce", "Willow"]
SECOND = [
    "Brothers",
    "Foods",
    "Glass",
    "Logistics",
    "Metals",
    "Optics",
    "Paper",
    "Supplies",
    "Textiles",
    "Tools",
    "Works",
    "Yards",
]
FORM = ["Ltd", "GmbH", "Inc", "SARL", "BV"]
CITIES = [
    "Bergen",
    "Cork",
    "Dresden",
    "Gdansk",
    "Girona",
    "Leeds",
    "Lyon",
    "Porto",
    "Tartu",
    "Trieste",
    "Utrecht",
    "Vienna",
]
KIND = [
    "black",
    "blue",
    "brass",
    "clear",
    "cotton",
    "folding",
    "grey",
    "heavy",
    "linen",
    "oak",
    "plain",
    "red",
    "round",
    "steel",
    "wide",
]
GOODS = [
    "bolt",
    "box",
    "bracket",
    "cable",
    "clamp",
    "crate",
    "drill",
    "envelope",
    "filter",
    "hinge",
    "hose",
    "label",
    "lamp",
    "ladder",
    "pallet",
]
CURRENCIES = ("EUR", "USD", "GBP")
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def invoice(draw: random.Random) -> dict[str, Any]:
    """One invoice: `text` as it is read, `answer` as it should be."""
    lines = [_line(draw) for _ in range(draw.choice((1, 1, 2, 2, 3, 4)))]
    total = round(sum(line["quantity"] * line["price"] for line in lines), 2)
    answer: dict[str, Any] = {
        "number": draw.choice(("INV-{}", "R{}", "2026/{}")).format(draw.randint(1000, 99999)),
        "date": f"{draw.randint(1, 28)} {draw.choice(MONTHS)} 2026",
        "seller": {"name": _firm(draw), "city": draw.choice(CITIES)},
        "buyer": {"name": _firm(draw), "city": draw.choice(CITIES)},
        "currency": draw.choice(CURRENCIES),
        "total": total,
        "lines": lines,
    }
    orders = [f"PO{draw.randint(100, 999)}" for _ in range(draw.choice((0, 0, 1, 2)))]
    if orders:
        answer["orders"] = orders
    if draw.random() < 0.3:
        del answer["buyer"]["city"]
    return {"text": draw.choice(LAYOUTS)(answer), "answer": answer}


def _line(draw: random.Random) -> dict[str, Any]:
    return {
        "item": f"{draw.choice(KIND)} {draw.choice(GOODS)}",
        "quantity": draw.randint(1, 60),
        "price": round(draw.uniform(0.5, 400.0), 2),
    }


def _firm(draw: random.Random) -> str:
    return f"{draw.choice(FIRST)} {draw.choice(SECOND)} {draw.choice(FORM)}"


def _party(party: dict[str, str]) -> str:
    return ", ".join(party.values())


def _money(amount: float) -> str:
    return f"{amount:,.2f}"


def _formal(a: dict[str, Any]) -> str:
    lines = "\n".join(f"{n['quantity']} x {n['item']} at {_money(n['price'])}" for n in a["lines"])
    orders = f"\nYour orders: {', '.join(a['orders'])}" if "orders" in a else ""
    return (
        f"INVOICE {a['number']}\nDate: {a['date']}\nFrom: {_party(a['seller'])}\nTo: {_party(a['buyer'])}{orders}\n"
        f"{lines}\nTotal due: {a['currency']} {_money(a['total'])}"
    )


def _table(a: dict[str, Any]) -> str:
    lines = "\n".join(f"{n['item']} | {n['quantity']} | {_money(n['price'])}" for n in a["lines"])
    orders = f"\nRef {' and '.join(a['orders'])}" if "orders" in a else ""
    return (
        f"{_party(a['seller'])}\nInvoice no. {a['number']} of {a['date']}\nBill to {_party(a['buyer'])}{orders}\n"
        f"Item | Qty | Unit price\n{lines}\nAmount {_money(a['total'])} {a['currency']}"
    )


def _letter(a: dict[str, Any]) -> str:
    goods = "; ".join(f"{n['quantity']} {n['item']}, {_money(n['price'])} each" for n in a["lines"])
    orders = f" as ordered under {' and '.join(a['orders'])}" if "orders" in a else ""
    return (
        f"{a['date']}. Dear {_party(a['buyer'])}, we delivered{orders}: {goods}. Please pay {a['currency']} "
        f"{_money(a['total'])} quoting {a['number']}. {_party(a['seller'])}"
    )


def _terse(a: dict[str, Any]) -> str:
    goods = " / ".join(f"{n['item']} {_money(n['price'])} ({n['quantity']} pcs)" for n in a["lines"])
    orders = f" {' '.join(a['orders'])}" if "orders" in a else ""
    return (
        f"{a['number']} {a['date']} {_party(a['seller'])} -> {_party(a['buyer'])}:{orders} {goods} = "
        f"{_money(a['total'])} {a['currency']}"
    )


def _reversed(a: dict[str, Any]) -> str:
    goods = "\n".join(f"{_money(n['price'])} * {n['quantity']} {n['item']}" for n in a["lines"])
    orders = f"\nPurchase order {', '.join(a['orders'])}" if "orders" in a else ""
    return (
        f"{goods}\nSum {a['currency']} {_money(a['total'])}\nSold by {_party(a['seller'])} to {_party(a['buyer'])}"
        f"{orders}\n{a['number']}, {a['date']}"
    )


LAYOUTS = (_formal, _table, _letter, _terse, _reversed)


def main() -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "rows.jsonl")
    given = parser.parse_args()
    draw = random.Random(given.seed)  # noqa: S311 - made-up invoices are no secret
    rows = [invoice(draw) for _ in range(given.rows)]
    given.to.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
