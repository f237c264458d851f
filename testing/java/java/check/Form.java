package check;

/** A serialization, as OUYU-IM calls its library. */
interface Form {
    Object read(byte[] body, Class<?> type) throws Exception;

    byte[] write(Object message) throws Exception;
}
