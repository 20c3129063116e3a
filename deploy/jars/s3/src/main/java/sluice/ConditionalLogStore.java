package sluice;

import io.delta.storage.S3SingleDriverLogStore;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Options.CreateFileOptionKeys;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.RemoteFileChangedException;

/**
 * Delta's log on S3 for more than one driver: a commit is put where no other stands, or not at all.
 *
 * <p>Delta's own store for S3 looks first and writes then; a driver that is stopped in between overwrites
 * whatever was committed meanwhile. Here S3 itself refuses:
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
 */
public class ConditionalLogStore extends S3SingleDriverLogStore {

  public ConditionalLogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
      throws IOException {
    if (overwrite) {
      super.write(path, actions, true, configuration);
      return;
    }
    byte[] commit = bytes(actions);
    FileSystem fileSystem = path.getFileSystem(configuration);
    FSDataOutputStreamBuilder<?, ?> file = fileSystem.createFile(path);
    file.create().overwrite(false).recursive();
    file.must(CreateFileOptionKeys.FS_OPTION_CREATE_CONDITIONAL_OVERWRITE, true);
    try (FSDataOutputStream out = file.build()) {
      out.write(commit);
    } catch (RemoteFileChangedException refused) {
      // The client tries again where an answer is lost: what stands there may be this very commit.
      if (!Arrays.equals(commit, whole(fileSystem, path))) {
        FileAlreadyExistsException taken = new FileAlreadyExistsException(path.toString());
        taken.initCause(refused);
        throw taken;
      }
    }
  }

  private static byte[] bytes(Iterator<String> actions) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      out.write(actions.next().getBytes(StandardCharsets.UTF_8));
      out.write('\n');
    }
    return out.toByteArray();
  }

  private static byte[] whole(FileSystem fileSystem, Path path) throws IOException {
    try (FSDataInputStream in = fileSystem.open(path)) {
      return in.readAllBytes();
    }
  }
}
