package httpserver

// ReadProxyHeader is for the fuzz target.
var ReadProxyHeader = readProxyHeader
