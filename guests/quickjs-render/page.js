// SPDX-License-Identifier: BSD-2-Clause
//
// A page rendered at the edge: POST a list of products as JSON, get HTML; GET
// shows those that were there at the freeze.

import { html } from "./html.js";

const stock = Array.from({ length: 20 }, (_, i) => ({
    id: i + 1, name: `Product <${i + 1}>`, price: (i + 1) * 1.5,
}));

const row = p => html`<tr><td>${p.id}</td><td>${p.name}</td>
<td>${p.price.toFixed(2)}</td></tr>
`;

const page = (title, products) => html`<!DOCTYPE html>
<title>${title}</title>
<h1>${title}</h1>
<table>
${products.map(row)}</table>
<p>${products.length} products, together ${
    products.reduce((sum, p) => sum + p.price, 0).toFixed(2)}</p>
`;

// What is asked for. Throws what is wrong with it.
function wanted(request) {
    let products = stock;
    if (request.method === "POST") {
        products = JSON.parse(request.body).map(p => ({
            id: p.id, name: String(p.name), price: Number(p.price) }));
    }
    const q = /[?&]q=([^&]*)/.exec(request.url);
    if (q) {
        const word = decodeURIComponent(q[1]).toLowerCase();
        products = products.filter(p => p.name.toLowerCase().includes(word));
    }
    return products;
}

kvm.serve(async request => {
    let products;
    try {
        products = wanted(request);
    } catch (e) {
        return { status: 400, body: `${e.message}\n` };
    }
    return {
        type: "text/html; charset=utf-8",
        body: page("Catalogue", products).text,
        headers: { "X-Rendered": String(products.length) },
        ttl: 60,
    };
});
