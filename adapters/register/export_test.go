package register

// Judge lets the fuzz test reach the reading of answers without a network.
var Judge = (*Register).judge
