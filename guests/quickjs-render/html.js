// SPDX-License-Identifier: BSD-2-Clause
//
// A template tag: what is put in is escaped, unless it was made by the tag.

class Safe {
    constructor(text) { this.text = text; }
}

const codes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;",
    "'": "&#39;" };

function piece(value) {
    if (value instanceof Safe)
        return value.text;
    if (Array.isArray(value))
        return value.map(piece).join("");
    return String(value).replace(/[&<>"']/g, c => codes[c]);
}

export const raw = text => new Safe(text);

export function html(strings, ...values) {
    let text = strings[0];
    values.forEach((v, i) => { text += piece(v) + strings[i + 1]; });
    return new Safe(text);
}
