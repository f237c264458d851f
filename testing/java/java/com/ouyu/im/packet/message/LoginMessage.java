package com.ouyu.im.packet.message;

import check.Tag;

public class LoginMessage extends Message {
    private static final long serialVersionUID = 33050912720271168L;

    @Tag(1) private String identity;
    @Tag(2) private String appKey;
    @Tag(3) private String signature;
    @Tag(4) private byte signatureAlgorithm;
    @Tag(5) private boolean isOpenHeartBeat;
    @Tag(6) private int heartBeatReadTimeout;
    @Tag(7) private long createTime;

    public String getIdentity() {
        return identity;
    }

    public void setIdentity(String identity) {
        this.identity = identity;
    }

    public String getAppKey() {
        return appKey;
    }

    public void setAppKey(String appKey) {
        this.appKey = appKey;
    }

    public String getSignature() {
        return signature;
    }

    public void setSignature(String signature) {
        this.signature = signature;
    }

    public byte getSignatureAlgorithm() {
        return signatureAlgorithm;
    }

    public void setSignatureAlgorithm(byte signatureAlgorithm) {
        this.signatureAlgorithm = signatureAlgorithm;
    }

    public boolean isOpenHeartBeat() {
        return isOpenHeartBeat;
    }

    public void setOpenHeartBeat(boolean isOpenHeartBeat) {
        this.isOpenHeartBeat = isOpenHeartBeat;
    }

    public int getHeartBeatReadTimeout() {
        return heartBeatReadTimeout;
    }

    public void setHeartBeatReadTimeout(int heartBeatReadTimeout) {
        this.heartBeatReadTimeout = heartBeatReadTimeout;
    }

    public long getCreateTime() {
        return createTime;
    }

    public void setCreateTime(long createTime) {
        this.createTime = createTime;
    }
}
