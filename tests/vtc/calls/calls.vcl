# What the tests of the guest's calls share: "it" is asked, and each answer is
# spoilt unless the same fork serves the next request as if nothing had been.
# A request with a field Boot has its value in the arguments of "boot"'s main().
# What programs ask Varnish itself, on a socket called self, is answered here.

backend default none;

sub vcl_recv {
	if (local.socket == "self") {
		return (synth(203));
	}
	if (req.http.Boot) {
		tinykvm.main_arguments("boot", req.http.Boot);
		tinykvm.invalidate_programs("^boot$");
	}
	return (pass);
}

sub vcl_backend_fetch {
	if (bereq.http.Boot) {
		set bereq.backend = tinykvm.program("boot", "/at-boot");
	} else {
		set bereq.backend = tinykvm.program("it", bereq.url,
		    bereq.http.Arg);
	}
}

sub vcl_backend_response {
	set beresp.do_stream = false;
}

sub vcl_deliver {
	if (tinykvm.to_string("it", "/ok") !~ "^0\s*$") {
		set resp.status = 599;
	}
}

sub vcl_synth {
	set resp.http.Content-Type = "text/mine";
	synthetic(req.method + " " + req.url);
	return (deliver);
}
