package check;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** The fields of a message class, its superclass's included. */
final class Fields {
    private Fields() {}

    static List<Field> byTag(Class<?> type) {
        List<Field> fields = new ArrayList<>();
        for (Class<?> at = type; at != Object.class; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers())) {
                    field.setAccessible(true);
                    fields.add(field);
                }
            }
        }
        fields.sort(Comparator.comparingInt(Fields::tag));
        return fields;
    }

    static int tag(Field field) {
        return field.getAnnotation(Tag.class).value();
    }

    static Class<?> element(Field list) {
        return (Class<?>) ((ParameterizedType) list.getGenericType()).getActualTypeArguments()[0];
    }

    static boolean isMessage(Class<?> type) {
        return type.getName().startsWith("com.ouyu.");
    }

    /** The values as plain JSON under the names of the fields: byte[] as hex, long as text. */
    static JsonNode neutral(Object value) throws IllegalAccessException {
        JsonNodeFactory json = JsonNodeFactory.instance;
        if (value == null) {
            return json.nullNode();
        } else if (value instanceof String) {
            return json.textNode((String) value);
        } else if (value instanceof Long) {
            return json.textNode(value.toString());
        } else if (value instanceof Boolean) {
            return json.booleanNode((Boolean) value);
        } else if (value instanceof Number) {
            return json.numberNode(((Number) value).intValue());
        } else if (value instanceof byte[]) {
            StringBuilder hex = new StringBuilder();
            for (byte b : (byte[]) value) {
                hex.append(String.format("%02x", b));
            }
            return json.textNode(hex.toString());
        } else if (value instanceof ArrayList) {
            ArrayNode array = json.arrayNode();
            for (Object element : (ArrayList<?>) value) {
                array.add(neutral(element));
            }
            return array;
        } else if (isMessage(value.getClass())) {
            ObjectNode object = json.objectNode();
            for (Field field : byTag(value.getClass())) {
                object.set(field.getName(), neutral(field.get(value)));
            }
            return object;
        }
        throw new IllegalArgumentException("a value of " + value.getClass());
    }
}
