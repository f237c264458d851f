package check;

import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;

/** The number of a field in protobuf and thrift. */
@Retention(RetentionPolicy.RUNTIME)
public @interface Tag {
    int value();
}
