-- What takes long belongs here: it happens once.

kvm.serve(function(request)
	return "Hello from @NAME@: " .. request.method .. " " ..
	    request.url .. "\n"
end)
