// The message classes of version 1 in thrift's compact protocol (serialization 7), which OUYU-IM names and does not have. The field
// numbers are its @Tag numbers. What is not optional is always written; an optional field that is left out is null.
namespace * im.v1

struct RoutingTable {
  1: optional string serverAddress,
  2: optional string preServerAddress,
  3: optional list<string> routedServerAddresses,
}

// In every message below, as the fields 10 to 13 belong to the cluster:
//   10: i32 currentRetry, 11: optional string targetServerAddress, 12: optional list<RoutingTable> routingTables, 13: bool isDelivery

struct PChatMessage { // 7
  1: optional string fromUser, // "from", a word of the language
  2: optional string to,
  3: i64 createTime,
  4: i32 contentType,
  5: optional binary content,
  10: i32 currentRetry,
  11: optional string targetServerAddress,
  12: optional list<RoutingTable> routingTables,
  13: bool isDelivery,
}

struct GChatMessage { // 8
  1: optional string fromUser,
  2: optional string to,
  3: i32 contentType,
  4: optional binary content,
  5: i64 createTime,
  10: i32 currentRetry,
  11: optional string targetServerAddress,
  12: optional list<RoutingTable> routingTables,
  13: bool isDelivery,
}

struct LoginMessage { // 5
  1: optional string identity,
  2: optional string appKey,
  3: optional string signature,
  4: i8 signatureAlgorithm,
  5: bool isOpenHeartBeat,
  6: i32 heartBeatReadTimeout,
  7: i64 createTime,
  10: i32 currentRetry,
  11: optional string targetServerAddress,
  12: optional list<RoutingTable> routingTables,
  13: bool isDelivery,
}

struct HeartBeatMessage { // 1, 6
  1: optional string fromUser,
  2: optional string to,
  3: optional string content,
  10: i32 currentRetry,
  11: optional string targetServerAddress,
  12: optional list<RoutingTable> routingTables,
  13: bool isDelivery,
}

struct AcknowledgeMessage { // 10
  1: optional string fromUser,
  2: optional string to,
  3: optional string content,
  4: i64 createTime,
  10: i32 currentRetry,
  11: optional string targetServerAddress,
  12: optional list<RoutingTable> routingTables,
  13: bool isDelivery,
}

struct PushMessage { // 11, 12
  1: optional string fromUser,
  2: optional string to,
  3: i32 contentType,
  4: optional string content,
  5: i64 createTime,
  10: i32 currentRetry,
  11: optional string targetServerAddress,
  12: optional list<RoutingTable> routingTables,
  13: bool isDelivery,
}
