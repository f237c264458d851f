package com.ouyu.im.packet.message;

import check.Tag;

public class HeartBeatMessage extends Message {
    private static final long serialVersionUID = -5192365554105095222L;

    @Tag(1) private String from;
    @Tag(2) private String to;
    @Tag(3) private String content;

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
}
