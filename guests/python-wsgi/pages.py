# SPDX-License-Identifier: BSD-2-Clause

from html import escape
from string import Template

_PAGE = Template("""\
<!DOCTYPE html>
<title>$name</title>
<h1>$name</h1>
<p>number $id, price $price</p>
""")


def page(product):
    return _PAGE.substitute(id=product["id"], name=escape(product["name"]),
                            price=f"{product['price']:.2f}")
