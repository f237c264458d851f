package com.ouyu.im.packet.message;

import check.Tag;

public class AcknowledgeMessage extends Message {
    private static final long serialVersionUID = -375698592067279269L;

    @Tag(1) private String from;
    @Tag(2) private String to;
    @Tag(3) private String content;
    @Tag(4) private long createTime;

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

    public String getContent() {
        return content;
    }

    public void setContent(String content) {
        this.content = content;
    }

    public long getCreateTime() {
        return createTime;
    }

    public void setCreateTime(long createTime) {
        this.createTime = createTime;
    }

    // JSON has the content twice.
    public String getData() {
        return content;
    }

    public void setData(String data) {
        content = data;
    }
}
