package com.ouyu.im.packet.message;

import check.Tag;

public class PChatMessage extends Message {
    private static final long serialVersionUID = 5949960601558169364L;

    @Tag(1) private String from;
    @Tag(2) private String to;
    @Tag(3) private long createTime;
    @Tag(4) private int contentType;
    @Tag(5) private byte[] content;

    public String getFrom() {
        return from;
    }

    public void setFrom(String from) {
        this.from = from;
    }

    public String getTo() {
        return to;
    }

    public void setTo(String to) {
        this.to = to;
    }

    public long getCreateTime() {
        return createTime;
    }

    public void setCreateTime(long createTime) {
        this.createTime = createTime;
    }

    public int getContentType() {
        return contentType;
    }

    public void setContentType(int contentType) {
        this.contentType = contentType;
    }

    public byte[] getContent() {
        return content;
    }

    public void setContent(byte[] content) {
        this.content = content;
    }
}
