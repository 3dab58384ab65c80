package channel

// OldZone is the word for who is off by an hour.
var OldZone = oldZone
