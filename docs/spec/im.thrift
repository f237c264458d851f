// The bodies of version 2 in thrift's compact protocol (serialization 7), without a message envelope. The field numbers are those of
// im.proto; a field at its default is left out. Thrift has no unsigned integers: an i32 or i64 has the same bits.
namespace * im.v2

// As one of its members names it.
struct Conversation {
  1: optional i32 kind, // 1 private
  2: optional string id, // private: the other user
}

// What a device has of a conversation.
struct Position {
  1: Conversation conversation,
  2: optional i64 epoch,
  3: optional i64 seq, // has everything up to here
  4: optional i64 acked, // the application has everything up to here safe
}

// A conversation that does not continue where the device stands.
struct Reload {
  1: Conversation conversation,
  2: optional i32 reason, // 1 another epoch, 2 position not known, 3 position too old
  3: optional i64 epoch,
}

struct Login { // 16
  1: optional string user,
  2: optional string device,
  3: optional string token,
  4: optional i32 receive_max,
  5: optional i64 session, // 0: none
  6: optional list<Position> positions, // at most 64, the most recently active first
}

struct LoginOk { // 17
  1: optional string user,
  2: optional i64 server_time_ms,
  3: optional i32 heartbeat_secs,
  4: optional i32 idle_secs,
  5: optional i32 send_max,
  6: optional i64 session,
  7: optional i32 resume, // 0 another session, 1 recovered, 2 reload
  8: optional list<Reload> reload,
}

struct Close { // 18
  1: optional i32 code,
  2: optional string reason,
}

struct Ping {} // 19

struct Pong {} // 20

struct Ticket { // 22
  1: optional binary ticket, // at most 512 bytes
  2: optional i32 lifetime_secs,
}

struct Epoch { // 23
  1: Conversation conversation,
  2: optional i64 epoch,
}

struct Send { // 32
  1: Conversation to,
  2: optional i32 content_type, // 1 text in UTF-8; 128 and above belong to applications
  3: optional binary content,
}

struct Stored { // 33
  1: Conversation conversation,
  2: optional i64 message_id,
  3: optional i64 seq,
  4: optional i64 time_ms,
  5: optional bool duplicate,
  6: optional bool in_stream,
}

struct Refused { // 34
  1: optional i32 code,
  2: optional string reason,
  3: optional bool retry,
}

struct Deliver { // 35
  1: Conversation conversation,
  2: optional string from_user, // "from" in the other serializations; names are not on the wire
  3: optional i64 message_id,
  4: optional i64 seq,
  5: optional i64 time_ms,
  6: optional i32 content_type,
  7: optional binary content,
}

struct Delivered { // 36
  1: Conversation conversation,
  2: optional i64 up_to,
  3: optional i64 epoch, // 0: the server named none
}
