package check;

import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.thrift.TException;
import org.apache.thrift.protocol.TCompactProtocol;
import org.apache.thrift.protocol.TField;
import org.apache.thrift.protocol.TList;
import org.apache.thrift.protocol.TProtocol;
import org.apache.thrift.protocol.TStruct;
import org.apache.thrift.protocol.TType;
import org.apache.thrift.transport.TMemoryBuffer;
import org.apache.thrift.transport.TMemoryInputTransport;

/** Thrift's compact protocol by libthrift: the field numbers of protobuf, null left out, no null in a list. */
final class ThriftForm implements Form {
    @Override
    public Object read(byte[] body, Class<?> type) throws Exception {
        TMemoryInputTransport transport = new TMemoryInputTransport(body);
        Object read = readStruct(new TCompactProtocol(transport), type);
        if (transport.getBytesRemainingInBuffer() != 0) {
            throw new IllegalArgumentException("bytes are left");
        }
        return read;
    }

    @Override
    public byte[] write(Object message) throws Exception {
        TMemoryBuffer transport = new TMemoryBuffer(256);
        writeStruct(new TCompactProtocol(transport), message);
        return java.util.Arrays.copyOf(transport.getArray(), transport.length());
    }

    private static byte code(Class<?> type) {
        return type == boolean.class ? TType.BOOL
            : type == byte.class ? TType.BYTE
            : type == int.class ? TType.I32
            : type == long.class ? TType.I64
            : type == List.class ? TType.LIST
            : Fields.isMessage(type) ? TType.STRUCT
            : TType.STRING;
    }

    private static void writeStruct(TProtocol out, Object message) throws Exception {
        out.writeStructBegin(new TStruct(message.getClass().getSimpleName()));
        for (Field field : Fields.byTag(message.getClass())) {
            Object value = field.get(message);
            if (value != null) {
                out.writeFieldBegin(new TField(field.getName(), code(field.getType()), (short) Fields.tag(field)));
                writeValue(out, value, field);
                out.writeFieldEnd();
            }
        }
        out.writeFieldStop();
        out.writeStructEnd();
    }

    private static void writeValue(TProtocol out, Object value, Field field) throws Exception {
        if (value instanceof Boolean) {
            out.writeBool((Boolean) value);
        } else if (value instanceof Byte) {
            out.writeByte((Byte) value);
        } else if (value instanceof Integer) {
            out.writeI32((Integer) value);
        } else if (value instanceof Long) {
            out.writeI64((Long) value);
        } else if (value instanceof String) {
            out.writeString((String) value);
        } else if (value instanceof byte[]) {
            out.writeBinary(ByteBuffer.wrap((byte[]) value));
        } else if (value instanceof List) {
            List<Object> present = new ArrayList<>((List<?>) value);
            present.removeIf(element -> element == null);
            out.writeListBegin(new TList(code(Fields.element(field)), present.size()));
            for (Object element : present) {
                writeValue(out, element, field);
            }
            out.writeListEnd();
        } else {
            writeStruct(out, value);
        }
    }

    private static Object readStruct(TProtocol in, Class<?> type) throws Exception {
        Object message = type.getDeclaredConstructor().newInstance();
        in.readStructBegin();
        for (TField at = in.readFieldBegin(); at.type != TType.STOP; at = in.readFieldBegin()) {
            short id = at.id;
            Field field = Fields.byTag(type).stream().filter(f -> Fields.tag(f) == id).findAny().orElse(null);
            if (field == null || code(field.getType()) != at.type) {
                throw new TException("field " + at + " in " + type);
            }
            field.set(message, readValue(in, field.getType(), field));
            in.readFieldEnd();
        }
        in.readStructEnd();
        return message;
    }

    private static Object readValue(TProtocol in, Class<?> type, Field field) throws Exception {
        if (type == boolean.class) {
            return in.readBool();
        } else if (type == byte.class) {
            return in.readByte();
        } else if (type == int.class) {
            return in.readI32();
        } else if (type == long.class) {
            return in.readI64();
        } else if (type == String.class) {
            return in.readString();
        } else if (type == byte[].class) {
            ByteBuffer buffer = in.readBinary();
            byte[] bytes = new byte[buffer.remaining()];
            buffer.get(bytes);
            return bytes;
        } else if (type == List.class) {
            TList list = in.readListBegin();
            List<Object> elements = new ArrayList<>();
            for (int i = 0; i < list.size; i++) {
                elements.add(readValue(in, Fields.element(field), field));
            }
            in.readListEnd();
            return elements;
        }
        return readStruct(in, type);
    }
}
