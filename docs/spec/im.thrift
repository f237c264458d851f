// The bodies of version 2 in thrift's compact protocol (serialization 7), without a message envelope. The field numbers are those of
// im.proto; a field at its default is left out. Thrift has no unsigned integers: an i32 or i64 has the same bits.
namespace * im.v2

// As one of its members names it.
struct Conversation {
  1: optional i32 kind, // 1 private, 2 group, 3 room, 4 broadcast, 5 notices
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
  7: optional i32 receive_bytes, // bytes of content; 0: as many as receive_max lets
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
  3: optional i32 retry_after_ms, // 0 leaves it to the receiver
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
  4: optional i32 retry_after_ms,
}

struct Deliver { // 35
  1: Conversation conversation,
  2: optional string from_user, // "from" in the other serializations; names are not on the wire
  3: optional i64 message_id,
  4: optional i64 seq,
  5: optional i64 time_ms,
  6: optional i32 content_type,
  7: optional binary content,
  8: optional i32 kind, // 0 message, 1 recall, 2 edit, 3 reaction, 4 reaction taken away, 5 recalled, 6 event, 7 sealed, 8 not for this device
  9: optional i64 about,
}

struct Delivered { // 36
  1: Conversation conversation,
  2: optional i64 up_to,
  3: optional i64 epoch, // 0: the server named none
}

struct Recall { // 37
  1: Conversation to,
  2: optional i64 about,
}

struct Edit { // 38
  1: Conversation to,
  2: optional i64 about,
  3: optional i32 content_type,
  4: optional binary content,
}

struct Reaction { // 39
  1: Conversation to,
  2: optional i64 about,
  3: optional string text, // 1 to 64 bytes
  4: optional bool remove,
}

struct SendSealed { // 40
  1: Conversation to,
  2: optional i32 content_type,
  3: optional binary parts, // user, device and ciphertext of each part; session.md has the layout
}

struct Read { // 48
  1: Conversation conversation,
  2: optional i64 up_to,
  3: optional i64 epoch, // of the log that up_to belongs to
}

struct ReadBy { // 49
  1: Conversation conversation,
  2: optional string user,
  3: optional i64 up_to,
  4: optional i64 epoch, // of the log that up_to belongs to
}

struct DeliveredTo { // 50
  1: Conversation conversation,
  2: optional string user,
  3: optional i64 up_to,
  4: optional i64 epoch, // of the log that up_to belongs to
}

struct Typing { // 56
  1: Conversation conversation,
  2: optional string user, // empty from a client
  3: optional bool on,
}

struct Presence { // 57
  1: optional string user, // empty from a client
  2: optional i32 state, // 0 offline, 1 online, 2 away, 3 busy; 128 to 191 belong to applications
  3: optional i64 seen_ms,
}

struct Watch { // 58
  1: optional string user,
  2: optional bool on,
}

struct CallSignal { // 64
  1: optional i64 call,
  2: optional i32 signal,
  3: optional string group,
  4: optional string user,
  5: optional i32 media,
  6: optional i32 fail,
  7: optional bool camera,
  8: optional bool microphone,
  9: optional string users,
  10: optional binary payload,
}

struct CallAnswer { // 65
  1: optional i64 call,
  2: optional i32 phase,
  3: optional i32 end,
  4: optional i32 fail,
  5: optional bool duplicate,
  6: optional i32 refusal,
  7: optional i64 other,
  8: optional i64 len,
  9: optional i64 max,
}

struct CallNotice { // 66
  1: optional i64 call,
  2: optional i32 notice,
  3: optional string group,
  4: optional string user,
  5: optional string device,
  6: optional i32 media,
  7: optional i32 end,
  8: optional i32 fail,
  9: optional bool camera,
  10: optional bool microphone,
  11: optional string users,
  12: optional string host,
  13: optional binary payload,
}

struct RoomJoin { // 72
  1: Conversation room,
}

struct RoomJoined { // 73
  1: Conversation room,
}

struct RoomLeave { // 74
  1: Conversation room,
}

struct RoomLeft { // 75
  1: Conversation room,
  2: optional i32 exit, // 0 it left, 1 removed, 2 banned, 3 the room was closed; 128 to 191 belong to applications
  3: optional string reason,
}

struct RoomMessage { // 76
  1: Conversation room,
  2: optional string from_user,
  3: optional i64 message_id,
  4: optional i64 time_ms,
  5: optional i32 content_type,
  6: optional binary content,
  7: optional i64 dropped, // how many were dropped since the last one
}

struct StreamOpen { // 80
  1: optional i64 stream,
  2: Conversation conversation,
  3: optional string from_user, // empty from a client
  4: optional i32 content_type,
}

struct StreamDelta { // 81
  1: optional i64 stream,
  2: optional i64 offset, // bytes before this piece
  3: optional binary content,
}

struct StreamEnd { // 82
  1: optional i64 stream,
  2: optional i64 len, // bytes in all
  3: optional i32 aborted, // 0 complete, 1 cancelled, 2 source lost, 3 over a limit, 4 other
  4: optional i64 seq, // of the message with the whole content; 0: none
}

struct Request { // 88
  1: optional string method,
  2: optional i32 content_type,
  3: optional binary content,
  4: optional i32 timeout_ms,
}

struct Response { // 89
  1: optional i32 content_type,
  2: optional binary content,
}
