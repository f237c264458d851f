package check;

import com.caucho.hessian.io.Hessian2Input;
import com.caucho.hessian.io.Hessian2Output;
import com.caucho.hessian.io.HessianInput;
import com.caucho.hessian.io.HessianOutput;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.msgpack.jackson.dataformat.MessagePackFactory;

/** Reads what Rust wrote, says what it understood, and writes it again. */
public final class Check {
    private Check() {}

    private static final class Jdk implements Form {
        @Override
        public Object read(byte[] body, Class<?> type) throws Exception {
            ByteArrayInputStream in = new ByteArrayInputStream(body);
            Object read = new ObjectInputStream(in).readObject();
            allRead(in);
            return read;
        }

        @Override
        public byte[] write(Object message) throws Exception {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            try (ObjectOutputStream objects = new ObjectOutputStream(out)) {
                objects.writeObject(message);
            }
            return out.toByteArray();
        }
    }

    private static final class Hessian1 implements Form {
        @Override
        public Object read(byte[] body, Class<?> type) throws Exception {
            ByteArrayInputStream in = new ByteArrayInputStream(body);
            Object read = new HessianInput(in).readObject(type);
            allRead(in);
            return read;
        }

        @Override
        public byte[] write(Object message) throws Exception {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            new HessianOutput(out).writeObject(message);
            return out.toByteArray();
        }
    }

    private static final class Hessian2 implements Form {
        @Override
        public Object read(byte[] body, Class<?> type) throws Exception {
            return new Hessian2Input(new ByteArrayInputStream(body)).readObject(type);
        }

        @Override
        public byte[] write(Object message) throws Exception {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            Hessian2Output objects = new Hessian2Output(out);
            objects.writeObject(message);
            objects.flush();
            return out.toByteArray();
        }
    }

    private static final class Jackson implements Form {
        private final ObjectMapper mapper;

        Jackson(ObjectMapper mapper) {
            this.mapper = mapper;
        }

        @Override
        public Object read(byte[] body, Class<?> type) throws Exception {
            return mapper.readValue(body, type);
        }

        @Override
        public byte[] write(Object message) throws Exception {
            return mapper.writeValueAsBytes(message);
        }
    }

    private static void allRead(ByteArrayInputStream in) {
        if (in.available() != 0) {
            throw new IllegalArgumentException(in.available() + " bytes are left");
        }
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Paths.get(arguments[0]);
        Map<String, Form> forms = new LinkedHashMap<>();
        forms.put("jdk", new Jdk());
        forms.put("hessian", new Hessian1());
        forms.put("hessian2", new Hessian2());
        forms.put("json", new Jackson(new ObjectMapper()));
        forms.put("msgpack", new Jackson(new ObjectMapper(new MessagePackFactory())));
        forms.put("protobuf", new ProtobufForm(Paths.get(arguments[1])));
        forms.put("thrift", new ThriftForm());
        ObjectMapper json = new ObjectMapper();
        int failures = 0;
        for (Map.Entry<String, Form> form : forms.entrySet()) {
            Path to = Files.createDirectories(folder.resolve("java").resolve(form.getKey()));
            List<Path> bodies;
            try (Stream<Path> files = Files.list(folder.resolve("rust").resolve(form.getKey()))) {
                bodies = files.sorted().collect(Collectors.toList());
            }
            int done = 0;
            for (Path body : bodies) {
                String[] name = body.getFileName().toString().split("\\.");
                Class<?> type = Class.forName("com.ouyu.im.packet.message." + name[1]);
                try {
                    Object message = form.getValue().read(Files.readAllBytes(body), type);
                    if (message.getClass() != type) {
                        throw new IllegalArgumentException("read a " + message.getClass());
                    }
                    Files.write(to.resolve(name[0] + "." + name[1] + ".json"), json.writeValueAsBytes(Fields.neutral(message)));
                    Files.write(to.resolve(name[0] + "." + name[1] + ".bin"), form.getValue().write(message));
                    done++;
                } catch (Exception | StackOverflowError error) {
                    System.err.println("Java cannot read " + form.getKey() + " " + body.getFileName() + ": " + error);
                    failures++;
                }
            }
            System.out.println("Java read and wrote " + done + " bodies of " + form.getKey());
            if (bodies.isEmpty()) {
                throw new IllegalStateException("no body of " + form.getKey());
            }
        }
        if (failures > 0) {
            System.err.println("Java could not read " + failures + " bodies");
            System.exit(1);
        }
    }
}
