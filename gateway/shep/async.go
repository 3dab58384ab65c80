package shep

import "time"

// A MessageType says what a message of the AsyncChannel is in its chain.
type MessageType string

const (
	TypeRequest      MessageType = "REQUEST"      // the first one
	TypeUpdate       MessageType = "UPDATE"       // newer data
	TypeNotification MessageType = "NOTIFICATION" // how it goes
	TypeResponse     MessageType = "RESPONSE"     // the answer
)

// A MessageState says what SHEP knows of a message's delivery.
type MessageState string

const (
	OnDelivery      MessageState = "ON_DELIVERY"
	Delivered       MessageState = "DELIVERED"
	NotDelivered    MessageState = "NOT_DELIVERED"
	DeliveryStopped MessageState = "DELIVERY_STOPPED"
)

// Words of a delivery notification, the first misspelt in the contract.
const (
	notAccepted = "MESSAGE_NOT_ACCTEPTED"
	accepted    = "MESSAGE_ACCEPTED"
	resend      = "RESEND"
	notResend   = "NOT_RESEND"
)

// A Sender says who sends, and proves it when no signature does.
type Sender struct {
	ID       string
	Password string // "" for none
}

// An AsyncMessage is a message of the AsyncChannel: the request of sendMessage, to SHEP or pushed
// by it, and each of the messages that getMessages answers.
type AsyncMessage struct {
	ID            string // made by SHEP: empty when a participant sends
	CorrelationID string // made by SHEP: empty in a REQUEST, mandatory in the others
	ServiceID     string
	Type          MessageType
	RouteID       string
	Date          time.Time
	Sender        Sender
	Properties    []Property
	SessionID     string
	Data          Data
}

// An AsyncReceipt answers sendMessage.
type AsyncReceipt struct {
	ID            string
	CorrelationID string
	Date          time.Time
	SessionID     string // "" for none
}

// A MessagesQuery is the request of getMessages: by message, by chain, or all of a service.
type MessagesQuery struct {
	ID            string
	CorrelationID string
	Date          time.Time // zero for none
	ServiceID     string
	Sender        Sender // zero for none
	Amount        int    // 0 leaves it to SHEP
	Properties    []Property
}

// A MessagesAnswer is the answer of getMessages.
type MessagesAnswer struct {
	Date      time.Time
	SessionID string
	Messages  []AsyncMessage
}

// A DeliveryNotification is the request of sendDeliveryNotification: whether a participant took a
// message, and whether it wants it once more.
type DeliveryNotification struct {
	MessageID   string
	ServiceID   string
	Date        time.Time
	Accepted    bool
	StatusDate  time.Time
	Resend      bool
	Error       *ErrorInfo
	RequestDate time.Time
	Sender      Sender // zero for none
}

// A DeliveryReceipt answers sendDeliveryNotification.
type DeliveryReceipt struct {
	NotificationID string
	Date           time.Time
	SessionID      string
}

// A StatusQuery is the request of getMessageStatus.
type StatusQuery struct {
	MessageID  string
	Date       time.Time
	Sender     Sender
	Properties []Property
}

// A MessageStatus is a message's state with its own words.
type MessageStatus struct {
	State   MessageState
	Code    string
	Message string
	Date    time.Time
}

// A StatusAnswer is the answer of getMessageStatus.
type StatusAnswer struct {
	MessageStatus
	AnswerDate time.Time
	SessionID  string // any text here, unlike elsewhere; "" for none
}

// A StatusChange is the request of changeMassageStatusNotification.
type StatusChange struct {
	NotificationID string
	MessageID      string
	Date           time.Time
	MessageStatus
	Error       *ErrorInfo
	RequestDate time.Time
	SessionID   string
}

// A StatusChangeReceipt answers changeMassageStatusNotification with the session id of the request.
type StatusChangeReceipt struct {
	Date      time.Time
	SessionID string
}

// NewSession makes a session id: a random GUID in braces.
func NewSession() string { return "{" + NewID() + "}" }
