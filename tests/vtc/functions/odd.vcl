# Odd texts for arguments: what the field Odd names takes its place. The program
# "it" (guests/anycall) makes them.

sub vcl_recv {
	if (req.http.Odd == "huge") {
		set req.http.Odd = tinykvm.to_string("it", "/fill,big,70000,0x68/sys_backend_response,200,null,0,big,70000,null");
	} elseif (req.http.Odd == "binary") {
		set req.http.Odd = tinykvm.to_string("it", "/sys_backend_response,200,null,0,=a%ff%fe,3,null");
	} elseif (req.http.Odd == "empty") {
		set req.http.Odd = "";
	} elseif (req.http.Odd == "null") {
		unset req.http.Odd;
	}
}
