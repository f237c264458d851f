package check;

import com.google.protobuf.ByteString;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.DynamicMessage;
import java.lang.reflect.Field;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** protobuf-java on im.proto, as protoc compiled it: null left out, no null in a list, an empty list is null. */
final class ProtobufForm implements Form {
    private final FileDescriptor file;

    ProtobufForm(Path compiled) throws Exception {
        FileDescriptorSet set = FileDescriptorSet.parseFrom(Files.readAllBytes(compiled));
        file = FileDescriptor.buildFrom(set.getFile(0), new FileDescriptor[0]);
    }

    @Override
    public Object read(byte[] body, Class<?> type) throws Exception {
        DynamicMessage message = DynamicMessage.parseFrom(file.findMessageTypeByName(type.getSimpleName()), body);
        return toObject(message, type);
    }

    @Override
    public byte[] write(Object message) throws Exception {
        return toMessage(message).toByteArray();
    }

    private static Object toObject(DynamicMessage message, Class<?> type) throws Exception {
        if (!message.getUnknownFields().asMap().isEmpty()) {
            throw new IllegalArgumentException("unknown fields " + message.getUnknownFields());
        }
        Object object = type.getDeclaredConstructor().newInstance();
        for (Field field : Fields.byTag(type)) {
            FieldDescriptor descriptor = message.getDescriptorForType().findFieldByNumber(Fields.tag(field));
            if (descriptor.isRepeated()) {
                List<Object> list = new ArrayList<>();
                for (Object element : (List<?>) message.getField(descriptor)) {
                    list.add(fromValue(element, Fields.element(field)));
                }
                field.set(object, list.isEmpty() ? null : list);
            } else if (message.hasField(descriptor)) {
                field.set(object, fromValue(message.getField(descriptor), field.getType()));
            }
        }
        return object;
    }

    private static Object fromValue(Object value, Class<?> type) throws Exception {
        if (value instanceof ByteString) {
            return ((ByteString) value).toByteArray();
        } else if (value instanceof DynamicMessage) {
            return toObject((DynamicMessage) value, type);
        } else if (type == byte.class) {
            return ((Integer) value).byteValue();
        }
        return value;
    }

    private DynamicMessage toMessage(Object object) throws Exception {
        Descriptor type = file.findMessageTypeByName(object.getClass().getSimpleName());
        DynamicMessage.Builder message = DynamicMessage.newBuilder(type);
        for (Field field : Fields.byTag(object.getClass())) {
            FieldDescriptor descriptor = type.findFieldByNumber(Fields.tag(field));
            Object value = field.get(object);
            if (value instanceof List) {
                for (Object element : (List<?>) value) {
                    if (element != null) {
                        message.addRepeatedField(descriptor, toValue(element));
                    }
                }
            } else if (value != null) {
                message.setField(descriptor, toValue(value));
            }
        }
        return message.build();
    }

    private Object toValue(Object value) throws Exception {
        if (value instanceof byte[]) {
            return ByteString.copyFrom((byte[]) value);
        } else if (value instanceof Byte) {
            return ((Byte) value).intValue();
        } else if (Fields.isMessage(value.getClass())) {
            return toMessage(value);
        }
        return value;
    }
}
