/*-
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * What differs between versions of Varnish, keyed on the VRT major: 15 is
 * Varnish 7.1 (Debian 12), the oldest that this VMOD is built for.
 */

#ifndef TINYKVM_COMPAT_H_INCLUDED
#define TINYKVM_COMPAT_H_INCLUDED

#if VRT_MAJOR_VERSION < 15U
#error "Varnish 7.1 or later is needed"
#endif

#endif /* TINYKVM_COMPAT_H_INCLUDED */
